"""Many visitors look through one network in the real server at the same time, and each gets the map that is right."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from alexnet_explorer.data.samples import SAMPLES, load_sample
from alexnet_explorer.inspection.attribution import attribute
from alexnet_explorer.ui import networks

NETWORK = "alexnet-32-relu"
METHODS = ("saliency", "guided-backprop")  # the second one hooks the network, which once spoilt the first one's maps
VISITORS, REQUESTS = 4, 100

pytestmark = pytest.mark.timeout(600)


class Session:
    """A visitor without a browser: Streamlit's own messages over a socket."""

    def __init__(self, server, socket):
        self.server, self.socket = server, socket
        self.elements, self.id = [], ""

    def hear(self):
        message = ForwardMsg()
        message.ParseFromString(self.socket.recv(timeout=300))
        return message

    def open(self, link):
        """Gives the elements of a page once it is drawn."""
        opening = BackMsg()
        opening.rerun_script.page_name, _, opening.rerun_script.query_string = link.partition("?")
        self.socket.send(opening.SerializeToString())
        while True:
            message = self.hear()
            kind = message.WhichOneof("type")
            if kind == "new_session":  # a fresh server's first visitor is drawn for twice, see `frame.take_over`
                self.elements, self.id = [], message.new_session.initialize.session_id
            elif kind == "delta" and message.delta.HasField("new_element"):
                self.elements.append(message.delta.new_element)
            elif kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                assert not [one for one in self.elements if one.HasField("exception")]
                return self.elements

    def download(self, label):
        """What the first download button of that name gives."""
        buttons = [one.download_button for one in self.elements if one.HasField("download_button")]
        button = next(one for one in buttons if one.label == label)
        while True:
            try:
                with urlopen(self.server.url + self._url(button.deferred_file_id)) as file:
                    return file.read()
            except HTTPError as error:  # Streamlit drops what is not fetched while two pages of others are drawn
                assert error.code == 404

    def _url(self, file):
        asking = BackMsg()
        request = asking.backend_operation_request
        request.request_id, request.session_id, request.deferred_file.file_id = "1", self.id, file
        self.socket.send(asking.SerializeToString())
        while (message := self.hear()).WhichOneof("type") != "backend_operation_response":
            pass
        assert not message.backend_operation_response.error_msg
        return message.backend_operation_response.deferred_file.url


@contextmanager
def session(server):
    stream = f"ws://localhost:{server.port}/_stcore/stream"
    with connect(stream, subprotocols=["streamlit"], max_size=None, open_timeout=60) as socket:
        yield Session(server, socket)


def test_a_hundred_maps_asked_for_at_once_are_those_computed_one_after_the_other(server):
    server.wait()
    loaded = networks.load(NETWORK)
    # Each is another map, so that none comes from the store of what was computed before.
    asked = list(product(SAMPLES, range(len(loaded.classes)), METHODS))[:REQUESTS]
    assert len(asked) == REQUESTS
    together = threading.Barrier(VISITORS, timeout=300)

    def visit(visitor):
        maps = []
        together.wait()
        for picture, target, method in asked[visitor::VISITORS]:
            link = urlencode({"models": NETWORK, "picture": picture, "target": target, "method": method})
            with session(server) as page:
                page.open(f"saliency?{link}")
                maps.append(np.load(io.BytesIO(page.download("npz")))["map"])
        return maps

    start = time.perf_counter()
    with ThreadPoolExecutor(VISITORS) as visitors:
        found = list(visitors.map(visit, range(VISITORS)))
    print(f"{REQUESTS} maps for {VISITORS} visitors in {time.perf_counter() - start:.0f} s")
    images = {name: load_sample(name) for name in SAMPLES}
    for number, (picture, target, method) in enumerate(asked):
        alone = attribute(loaded, images[picture], method, target).map
        assert np.array_equal(found[number % VISITORS][number // VISITORS], alone), (picture, target, method)
