"""What people say about relays and lanes, in their words: rates, hours, warm-up, routes, providers.

Law: pure. Texts become values here, with an error that quotes what was wrong and shows what is right; time and chance
are arguments. Who obeys them is decided above.
"""
