"""Every way in: HTTP service, client, command line. Nothing here decides what is accepted."""
