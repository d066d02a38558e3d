"""The two standard parts that the published network is built on: SE-ResNet-50 encoders and ASPP."""
