import json

from tests.coverage_bounds import main


def told(tmp_path, **covered_branches):
    files = {
        f"{path}.py": {
            "summary": {"covered_lines": 100, "num_statements": 100, "covered_branches": count, "num_branches": 100}
        }
        for path, count in {"smtp_transport/auth/a": 95, "smtp_transport/tls": 85, "mailworker/a": 0}.items()
        for count in [covered_branches.get(path.rpartition("/")[2], count)]
    }
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps({"files": files}))
    return str(path)


def test_bounds_hold_for_statements_and_for_branches_of_each_group(tmp_path, capsys):
    assert main(told(tmp_path)) == 0
    assert main(told(tmp_path, tls=84)) == 1
    assert main(told(tmp_path, a=94)) == 1
    assert "smtp_transport, the rest: 84.0 % of branches, at least 85 %" in capsys.readouterr().out
