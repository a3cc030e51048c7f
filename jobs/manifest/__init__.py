"""What a finished run can be asked: shown, verified, compared, repeated."""
