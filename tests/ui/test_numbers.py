import pytest

from alexnet_explorer.ui.numbers import cost_text, energy_text, kilowatt_hours


def test_ten_hours_at_a_hundred_watts_are_a_kilowatt_hour():
    assert kilowatt_hours(36_000, 100) == pytest.approx(1)


@pytest.mark.parametrize(
    ("energy", "text"),
    [(0.00042, "0.42 Wh"), (0.1654, "165 Wh"), (0.99949, "999 Wh"), (0.9996, "1.00 kWh"), (1234.5, "1,234.50 kWh")],
)
def test_energies(energy, text):
    assert energy_text(energy) == text


@pytest.mark.parametrize(
    ("cost", "text"), [(0.0, "0.00"), (0.004, "under 0.01"), (0.046, "0.05"), (1234.5, "1,234.50")]
)
def test_costs(cost, text):
    assert cost_text(cost) == text
