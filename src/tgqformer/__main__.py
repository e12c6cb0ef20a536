"""``python -m tgqformer`` is the command ``tgqformer``."""

from tgqformer.cli.main import main

if __name__ == "__main__":
    main()
