"""What can be done with Quad's tables of a finished run: play the bandit again, and draw its clusters."""
