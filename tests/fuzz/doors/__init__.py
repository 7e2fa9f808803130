"""Random and hostile requests to the doors of other clients, to agents' tools and to the pages' forms.

`world`: a real service with two tenants. `values`: what clients send, and what attackers do. `openai`, `others`,
`forms`: the operations of each door, from its clients' own types. `checks`: what must hold for every answer.
"""
