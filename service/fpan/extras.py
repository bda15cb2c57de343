"""How the parts of this distribution that are optional are installed."""


def how_to_install(extra: str) -> str:
    """The way to an extra, for the end of an error message: the distribution is on no package index."""
    return (
        f"install it in a checkout of Mask-FPAN Serve with pip install './service[{extra}]', "
        f"or elsewhere with pip install 'WHEEL[{extra}]' from a wheel of its `make wheel`"
    )
