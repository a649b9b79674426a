"""Planar rigid bodies with contacts: simulation and identification from motion."""
