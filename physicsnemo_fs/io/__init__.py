# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The NetCDF layout of generated ensembles: layout, writer, reader."""
