import pytest

from nbcnn import resources
from nbcnn.errors import ModelFileError


def test_names_are_found_beside_the_package():
    assert {"digits", "lenet5", "resnet50"} <= set(resources.names("graphs"))
    assert resources.find("graphs", "lenet5") == resources.folder("graphs") / "lenet5.yaml"


def test_an_installed_package_carries_its_data(tmp_path, monkeypatch):
    package = tmp_path / "nbcnn"
    (package / "_data" / "graphs").mkdir(parents=True)
    (package / "_data" / "graphs" / "a.yaml").touch()
    (tmp_path / "graphs").mkdir()  # another package's, as no pyproject.toml says otherwise
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.names("graphs") == ["a"]


def test_paths_are_taken_as_they_are(tmp_path, monkeypatch):
    path = tmp_path / "lenet5.yaml"
    path.touch()
    assert resources.find("graphs", str(path)) == path
    monkeypatch.chdir(tmp_path)
    assert resources.find("graphs", "lenet5.yaml").samefile(path)


@pytest.mark.parametrize(
    "name, message",
    [
        ("resnet5", "no model is called 'resnet5', and it is no path; did you mean 'resnet50'?"),
        ("none.yaml", "none.yaml: no such file"),
        ("folder/none", "folder/none: no such file"),
        ("/", "/: is a folder"),
        ("", "no model is called ''"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ModelFileError) as caught:
        resources.find("graphs", name)
    assert message in str(caught.value)
