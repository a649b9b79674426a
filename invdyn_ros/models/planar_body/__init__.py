"""Planar rigid bodies with contacts: simulation and system identification."""
