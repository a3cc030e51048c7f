"""Pure algorithms from columns to columns, one concept a file. Nothing here imports Beam."""
