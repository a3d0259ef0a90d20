"""Runs and indexes over HTTP: tags, search and similar songs, for programs and for people."""
