"""Files of weights. hub_files: from a hub · weight_files: checked before they are read · adapter_loading: LoRA
adapters.
"""
