"""Gymnasium environments of the grasp task, with expert and scripted agents."""
