"""The service's routes, one module per group; each makes its router from the app's context."""
