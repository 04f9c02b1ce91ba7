"""`timelift cache`: where decoded frames are kept, how much, and how to be rid of them."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[
        Path | None, typer.Option(help="By default $TIMELIFT_CACHE or ~/.cache/timelift.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Delete all decoded frames.")] = False,
) -> None:
    """Show or clear the cache of decoded frames.

    Example: timelift cache --clear
    """
    from timelift.data.cache import clear_cache, default_folder

    where = folder or default_folder()
    if clear:
        print(f"freed {clear_cache(where) / 1e6:,.1f} MB in {where}")
        return
    sizes = [path.stat().st_size for path in where.rglob("*") if path.is_file()] if where.is_dir() else []
    print(f"{sum(sizes) / 1e6:,.1f} MB of decoded frames of {len(sizes)} videos in {where}")
