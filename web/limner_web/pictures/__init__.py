"""Pictures between clients and the picture store. input_images: what clients send · picture_formats, renditions: other
formats and sizes · bucket_redirects: pictures that a bucket delivers itself · vector_cache: similar ones.
"""
