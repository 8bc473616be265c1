"""Whether a workspace's server answers: any HTTP answer will do, the Hub judges the rest."""

from __future__ import annotations

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

NO_CONNECTION = 599


async def answers(url: str, *, timeout_seconds: float = 5.0) -> bool:
    """Whether something speaks HTTP there now."""
    try:
        await AsyncHTTPClient().fetch(url, request_timeout=timeout_seconds, connect_timeout=timeout_seconds, follow_redirects=False)
    except HTTPClientError as error:
        return int(error.code) != NO_CONNECTION
    except OSError:
        return False
    return True
