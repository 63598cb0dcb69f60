"""Retrieval: which documents, and which passages of them, does a question need?"""
