"""What the services with pages share: languages and how values are written. No service imports another; both import this."""
