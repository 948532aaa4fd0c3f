"""Referring expressions for masklets of any videos, written by models: Ref-SAV's pipeline (Sa2VA, section 3.3)."""
