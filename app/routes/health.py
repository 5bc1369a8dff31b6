"""How the server is doing."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
