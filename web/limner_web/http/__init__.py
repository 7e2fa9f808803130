"""What every request and answer has in common. request_bodies, strict_json: reading them · route_rules: what each route
takes, and from whom · cross_site, session_cookie: browsers · throttling: limits for each tenant · problems,
intended_paths, warning_header: what answers say besides.
"""
