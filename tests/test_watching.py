from timelift.cli.watching import NowAndThen


def test_a_log_file_gets_a_line_now_and_then_and_none_twice(capsys):
    lines = {0: "0 of 3", 30: "1 of 3", 61: "1 of 3", 90: "2 of 3", 130: "2 of 3", 260: "2 of 3"}
    seconds = iter(lines)
    note = NowAndThen(seconds=60.0, clock=lambda: next(seconds))
    for line in lines.values():
        note(line)
    assert capsys.readouterr().err.splitlines() == ["0 of 3", "1 of 3", "2 of 3"]
