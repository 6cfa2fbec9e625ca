from injector.platform.settings import RemoteWriteSettings


def test_secrets_are_read_of_namespaces_that_are_named() -> None:
    settings = RemoteWriteSettings(secret_namespaces=("shop",))

    assert settings.reads_secrets_of("shop")
    assert not settings.reads_secrets_of("bank")
    assert not RemoteWriteSettings().reads_secrets_of("shop")
