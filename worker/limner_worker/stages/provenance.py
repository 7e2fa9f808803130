"""Provenance metadata in a picture's file: that a model made it, which model, and how.

Prompts are left out: a file may be passed on further than its requester intends, and a tenant's prompts may have to be
deleted before its pictures. The job is not named either, so that a repeated request gives the same bytes.
"""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import quoteattr

from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.safety import SOURCE_TYPE

PNG_KEY: Final = "XML:com.adobe.xmp"
"""The keyword of XMP in PNG (XMP specification, part 3)."""
_PACKET: Final = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" \
xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:limner="urn:limner:" {attributes}/>\
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def xmp(spec: JobSpec, seed: int) -> str:
    """Return an XMP packet for one picture of a job (ISO 16684-1); equal for equal requests."""
    facts = {
        "xmp:CreatorTool": "Limner",
        "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPE,
        "limner:model": spec.model,
        "limner:style": spec.style_for(seed),
        "limner:seed": seed,
        "limner:steps": spec.steps,
        "limner:guidance": spec.guidance,
        "limner:scheduler": spec.scheduler,
    }
    return _PACKET.format(
        attributes=" ".join(f"{name}={quoteattr(str(value))}" for name, value in facts.items() if value is not None)
    )
