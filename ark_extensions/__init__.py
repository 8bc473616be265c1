"""The platform around the Hub: rules, storage, use cases and the hub services over them."""
