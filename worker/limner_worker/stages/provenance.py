"""What a picture's file says of its making: that a model made it, which one, and how. Never what was asked for.

Prompts stay out: a file goes further than who asked may like, and a tenant's prompts may have to be forgotten before
its pictures. Nothing names the job either, so that the same request made again has the same bytes.
"""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import quoteattr

from limner_shared.domain.jobs import JobSpec

PNG_KEY: Final = "XML:com.adobe.xmp"
"""Under which PNG keeps XMP (XMP specification, part 3)."""
SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for what a generative model made."""
_PACKET: Final = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" \
xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:limner="urn:limner:" {attributes}/>\
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def xmp(spec: JobSpec, seed: int) -> str:
    """An XMP packet for one picture of a job (ISO 16684-1); equal for equal requests."""
    facts = {
        "xmp:CreatorTool": "Limner",
        "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPE,
        "limner:model": spec.model,
        "limner:style": spec.style,
        "limner:seed": seed,
        "limner:steps": spec.steps,
        "limner:guidance": spec.guidance,
        "limner:scheduler": spec.scheduler,
    }
    return _PACKET.format(
        attributes=" ".join(f"{name}={quoteattr(str(value))}" for name, value in facts.items() if value is not None)
    )
