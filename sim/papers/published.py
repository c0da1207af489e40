"""What the papers print: FuSeConv (DATE 2021) and ABConv (MLSys 2023 on-device workshop)."""

from __future__ import annotations

__all__ = [
    "ABCONV_MODELS",
    "ABCONV_TABLE2",
    "ARRAY_SIZES",
    "FUSECONV_NAMES",
    "FUSECONV_RELEASED",
    "FUSECONV_SPEEDUPS",
    "FUSECONV_TABLE1",
    "SELECTED_GROUPS",
]

#: Our names of the networks of the FuSeConv paper.
FUSECONV_NAMES = {
    "MobileNetV1": "mobilenet_v1",
    "MobileNetV2": "mobilenet_v2",
    "MnasNet-B1": "mnasnet_b1",
    "MobileNetV3-S": "mobilenet_v3_small",
    "MobileNetV3-L": "mobilenet_v3_large",
}

#: Table I, 64 x 64, 224 x 224: MMACs, million parameters, cycles, speed-up over the baseline.
FUSECONV_TABLE1 = {
    ("MobileNetV1", "baseline"): ("589", "4.23", 2536900, ""),
    ("MobileNetV1", "full"): ("1122", "7.36", 621300, "4.08"),
    ("MobileNetV1", "half"): ("573", "4.20", 375260, "6.76"),
    ("MobileNetV1", "full50"): ("764", "4.35", 1151124, "2.20"),
    ("MobileNetV1", "half50"): ("578", "4.22", 1072300, "2.37"),
    ("MobileNetV2", "baseline"): ("315", "3.50", 2979156, ""),
    ("MobileNetV2", "full"): ("430", "4.46", 576770, "5.17"),
    ("MobileNetV2", "half"): ("300", "3.46", 411910, "7.23"),
    ("MobileNetV2", "full50"): ("361", "3.61", 1453926, "2.05"),
    ("MobileNetV2", "half50"): ("305", "3.49", 1375054, "2.17"),
    ("MnasNet-B1", "baseline"): ("325", "4.38", 2748684, ""),
    ("MnasNet-B1", "full"): ("440", "5.66", 542818, "5.06"),
    ("MnasNet-B1", "half"): ("305", "4.25", 384202, "7.15"),
    ("MnasNet-B1", "full50"): ("361", "4.47", 1458602, "1.88"),
    ("MnasNet-B1", "half50"): ("312", "4.35", 1394346, "1.97"),
    ("MobileNetV3-S", "baseline"): ("66", "2.93", 700161, ""),
    ("MobileNetV3-S", "full"): ("84", "4.44", 231735, "3.02"),
    ("MobileNetV3-S", "half"): ("61", "2.89", 167935, "4.17"),
    ("MobileNetV3-S", "full50"): ("73", "3.18", 437559, "1.60"),
    ("MobileNetV3-S", "half50"): ("63", "2.92", 414921, "1.69"),
    ("MobileNetV3-L", "baseline"): ("238", "5.47", 2018189, ""),
    ("MobileNetV3-L", "full"): ("322", "10.57", 558553, "3.61"),
    ("MobileNetV3-L", "half"): ("225", "5.40", 370097, "5.45"),
    ("MobileNetV3-L", "full50"): ("264", "5.57", 1144825, "1.76"),
    ("MobileNetV3-L", "half50"): ("230", "5.46", 1102045, "1.83"),
}

ARRAY_SIZES = (32, 64, 128, 256)
#: The array-size figure: speed-up of the full variant at `ARRAY_SIZES`.
FUSECONV_SPEEDUPS = {
    "MobileNetV1": ("2.02", "4.08", "6.78", "8.64"),
    "MobileNetV2": ("3.35", "5.17", "6.84", "7.89"),
    "MnasNet-B1": ("3.32", "5.06", "6.46", "7.17"),
    "MobileNetV3-S": ("2.38", "3.02", "3.62", "3.97"),
    "MobileNetV3-L": ("2.48", "3.61", "4.82", "5.64"),
}

#: The released code: cycles at 32 x 32 and 64 x 64, MACs (convolutions and linear), parameters.
FUSECONV_RELEASED = {
    ("MobileNetV1", "baseline"): (3335848, 2521760, 568740352, 4231976),
    ("MobileNetV1", "full"): (1656424, 621072, 1102437376, 7366600),
    ("MobileNetV1", "half"): (947976, 375032, 557149696, 4202216),
    ("MobileNetV1", "full50"): (1965224, 1143728, 744657408, 4356296),
    ("MobileNetV1", "half50"): (1725352, 1064904, 560912896, 4228328),
    ("MobileNetV2", "baseline"): (3640499, 2961936, 300774272, 3504872),
    ("MobileNetV2", "full"): (1092107, 576542, 411983104, 4462024),
    ("MobileNetV2", "half"): (799631, 411682, 286963328, 3463144),
    ("MobileNetV2", "full50"): (2015507, 1449666, 344653184, 3611432),
    ("MobileNetV2", "half50"): (1877651, 1370794, 292194176, 3492200),
    ("MnasNet-B1", "baseline"): (3564856, 2735928, 314415872, 4383312),
    ("MnasNet-B1", "full"): (1079314, 542590, 425794048, 5666568),
    ("MnasNet-B1", "half"): (779068, 383974, 293266688, 4257840),
    ("MnasNet-B1", "full50"): (2090722, 1454342, 348463424, 4476552),
    ("MnasNet-B1", "half50"): (1969924, 1390086, 301207040, 4351920),
    ("MobileNetV3-S", "baseline"): (929691, 693549, 60119520, 2938368),
    ("MobileNetV3-S", "full"): (393489, 231539, 75010816, 4446056),
    ("MobileNetV3-S", "half"): (286243, 167739, 54361824, 2891712),
    ("MobileNetV3-S", "full50"): (615219, 430947, 65853408, 3188096),
    ("MobileNetV3-S", "half50"): (579815, 408309, 56789088, 2922960),
    ("MobileNetV3-L", "baseline"): (2623829, 2003753, 219799200, 5476416),
    ("MobileNetV3-L", "full"): (1064473, 558357, 297217920, 10577064),
    ("MobileNetV3-L", "half"): (712335, 369901, 206298720, 5405664),
    ("MobileNetV3-L", "full50"): (1651527, 1139925, 241562272, 5573704),
    ("MobileNetV3-L", "half50"): (1567575, 1097145, 211830624, 5466720),
}

#: Table 2, 4 x 4 pixels, 1024 to 1024 channels, pointwise: kind, g, MACs, weights, arithmetic
#: intensity of weights, activations and all, latency in us on the paper's machine. The group
#: convolution of its text has no row.
ABCONV_TABLE2 = (
    ("conv", 1, 16777216, 1048576, "16", "512", "15.5", "452.1"),
    ("abconv", 32, 524288, 1024, "512", "16", "15.5", "7.1"),
    ("abconv", 4, 4194304, 65536, "64", "128", "42.7", "36.1"),
    ("abconv_exp", 32, 16777216, 32768, "512", "30", "28.4", "110.1"),
    ("abconv_exp", 8, 16777216, 131072, "128", "102", "56.9", "86.1"),
)

#: Tables 3 to 5, CIFAR-100: table, network, its row, our pattern, MMACs, million parameters
#: (with statistics; not printed in Table 4), latency in ms.
ABCONV_MODELS = (
    ("3", "mobilenet_v1_cifar100", "original", "P", "46.5", "3.3", "1.43"),
    ("3", "mobilenet_v1_cifar100", "ABConv", "A-P-P", "39.9", "2.4", "0.99"),
    ("3", "mobilenet_v1_cifar100", "ABConv-exp", "E-P", "46.8", "2.4", "1.02"),
    ("3", "resnet50_cifar100", "original", "P", "1298.0", "23.8", "12.35"),
    ("3", "resnet50_cifar100", "ABConv", "A-P-P", "1239.3", "21.0", "11.56"),
    ("3", "resnet50_cifar100", "ABConv-exp", "E-P-P", "1304.8", "21.5", "11.91"),
    ("4", "mobilenet_v1_cifar100", "P-P-P", "P", "46.5", "", "1.43"),
    ("4", "mobilenet_v1_cifar100", "A-A-A", "A", "23.6", "", "0.42"),
    ("4", "mobilenet_v1_cifar100", "A-P-A", "A-P", "36.8", "", "0.95"),
    ("4", "mobilenet_v1_cifar100", "A-P-P", "A-P-P", "39.9", "", "0.99"),
    ("4", "mobilenet_v1_cifar100", "E-E-E", "E", "46.8", "", "0.60"),
    ("4", "mobilenet_v1_cifar100", "E-P-E", "E-P", "46.8", "", "1.02"),
    ("4", "mobilenet_v1_cifar100", "E-P-P", "E-P-P", "46.8", "", "1.07"),
    ("5", "mobilenet_v1_cifar100", "original", "P", "46.5", "3.3", "2.94"),
    ("5", "mobilenet_v1_cifar100", "ABConv", "A-P-P", "39.9", "2.4", "2.79"),
    ("5", "mobilenet_v1_cifar100", "ABConv-exp", "E-P", "46.8", "2.4", "2.94"),
    ("5", "resnet50_cifar100", "original", "P", "1298.0", "23.8", "23.09"),
    ("5", "resnet50_cifar100", "ABConv", "A-P-P", "1239.3", "21.0", "20.97"),
    ("5", "resnet50_cifar100", "ABConv-exp", "E-P-P", "1304.8", "21.5", "21.69"),
)

#: Groups selected per replaced layer, as reconstructed from the printed counts: network, pattern,
#: layer, g, c_mid (0 for ABConv).
SELECTED_GROUPS = (
    ("mobilenet_v1_cifar100", "A-P-P", "block6.pointwise", 4, 0),
    ("mobilenet_v1_cifar100", "A-P-P", "block9.pointwise", 4, 0),
    ("mobilenet_v1_cifar100", "A-P-P", "block12.pointwise", 8, 0),
    ("mobilenet_v1_cifar100", "E-P", "block6.pointwise", 4, 192),
    ("mobilenet_v1_cifar100", "E-P", "block8.pointwise", 4, 256),
    ("mobilenet_v1_cifar100", "E-P", "block10.pointwise", 4, 256),
    ("mobilenet_v1_cifar100", "E-P", "block12.pointwise", 16, 352),
)
