"""boards: platforms of open toolchains, and the link between host and board."""
