"""The zoo: every image network of timm lifted once, and what became of each written down."""
