"""`timelift cache`: where decoded frames are kept, how much, and how to be rid of them."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[
        Path | None, typer.Option(help="By default $TIMELIFT_CACHE or ~/.cache/timelift.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare all with their checksums; delete what is damaged.")
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Delete all decoded frames.")] = False,
) -> None:
    """Show, check or clear the cache of decoded frames.

    Example: timelift cache --clear
    """
    from timelift.cli.common import counting
    from timelift.data.cache import clear_cache, default_folder
    from timelift.data.cache_check import check_cache

    where = folder or default_folder()
    if clear:
        print(f"freed {clear_cache(where) / 1e6:,.1f} MB in {where}")
        return
    if check:
        with counting("checking", None) as progress:
            found = check_cache(where, progress=progress)
        for path in found.damaged:
            print(f"damaged, deleted: {path}")
        older = f", {found.unknown} without a checksum" if found.unknown else ""
        print(f"{found.good} videos as they were written, {len(found.damaged)} damaged{older}, in {where}")
        return
    kept = (".npy", ".jpegs")
    sizes = (
        [path.stat().st_size for path in where.rglob("*") if path.suffix in kept] if where.is_dir() else []
    )
    print(f"{sum(sizes) / 1e6:,.1f} MB of decoded frames of {len(sizes)} videos in {where}")
