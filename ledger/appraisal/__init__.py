"""The verifier's judgement as a pure function of what stands on the log."""
