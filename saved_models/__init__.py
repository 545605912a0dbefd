"""The trained networks that come with the zoo, in `shipped`; see `zoo.load`."""
