from injector.model.cluster import names as injector
from sidecar.model.pods import names


def test_the_injector_has_the_same_names() -> None:
    shared = {name: value for name, value in vars(names).items() if name.isupper()}
    shared.pop("PROXY_PORT")  # a literal in the injector's template

    assert shared == {name: getattr(injector, name) for name in shared}
