"""Splits: searched for, stratified, audited for leaks."""
