"""medclip_nb: three papers on medical vision-language pretraining, one equation, measured honestly.

Nothing heavy is imported here: `import medclip_nb` stays fast, torch comes when a model is built.
"""

__version__ = "0.1.0"
