"""`python -m alexnet_explorer …`"""

from .cli import main

if __name__ == "__main__":
    main()
