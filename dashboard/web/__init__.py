"""Every page and fragment; the only room that knows HTTP. Nothing here waits for a cluster."""
