"""Networks, their spec, the shipped and user models, export."""
