"""Every key that an experiment may set, with its default, meaning and unit.

An experiment file imports this one, changes what differs and returns it. Nothing else
holds a default. Optional keys are written as `placeholder(type)`: None unless set. The
sections that are not `type_safe` have keys that take a number or a list; `load_config`
checks the types of every key.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0  # initial weights, data order, augmentation, dropout

    config.data = data = ConfigDict()
    data.name = "shapes"  # shapes | prepared folder data set | catalogue name
    data.dir = "data"  # where prepared data sets live
    data.split = "train"  # split that is trained on
    data.eval_split = "val"  # split that is evaluated during and after training
    data.batch_size = 16  # images per step, over all devices
    data.eval_batch_size = 8  # images per evaluation step, over all devices
    data.threads = 2  # reader threads
    data.workers = 0  # reader processes; 0 reads in this process (best on few cores)
    data.crop = (128, 128)  # height, width of a training crop, pixels
    data.scale = (0.75, 1.5)  # range of the random resize before the crop
    data.flip = 0.5  # probability of a horizontal flip
    data.vertical_flip = 0.0  # probability of a vertical flip
    data.rotate = 0.0  # largest rotation, degrees, uniform in [-rotate, rotate]
    data.color = 0.2  # strength of brightness, contrast, saturation jitter, 0 = off
    data.rare_crop = 0.0  # probability that a crop is drawn around a rare-class pixel
    data.rare_classes = ()  # class indices that rare_crop aims at; () = the rarest
    data.mean = (0.485, 0.456, 0.406)  # RGB mean subtracted, images in [0, 1]
    data.std = (0.229, 0.224, 0.225)  # RGB deviation divided by
    data.shapes = shapes = ConfigDict()  # the procedural data set, if it is named
    shapes.train_images = 512
    shapes.val_images = 96
    shapes.size = (96, 128)  # height, width, pixels
    shapes.objects = 9  # objects per image, on average
    shapes.difficulty = 0.6  # 0 = flat colours, 1 = classes differ by texture alone
    shapes.seed = 0  # of the images themselves, not of training

    config.model = model = ConfigDict()
    model.dtype = "float32"  # float32 | bfloat16: of the computation, never of weights
    model.norm = "batch"  # batch | group | none
    # of the residual network's kernels: mean 0 and variance 2 / fan-in per channel
    model.weight_standardization = False
    model.backbone = backbone = ConfigDict()
    # 10 | 18 | 34 | 50 | 101 | 152, or for CIFAR 20 | 32 | 44 | 56 | 110 | 164
    backbone.depth = 18  # names the numbers of blocks and their kind
    # v1 | v1.5 | v1c | v1d | v2: names stem, order, stride_on and shortcut.transition
    backbone.variant = "v1.5"
    backbone.stage_sizes = ()  # blocks per stage; () = as `depth` says
    backbone.block = ""  # basic | bottleneck; "" = as `depth` says
    # post (He 2015) | bn_after_add | relu_before_add | relu_only_pre | pre (He 2016,
    # figure 4); "" = as `variant` says
    backbone.order = ""
    backbone.width = 0  # channels of stem and first stage; 0 = 64, for CIFAR 16
    # 7x7 | deep (three 3x3): stride 2 and max-pooling | 3x3: stride 1, no pooling
    backbone.stem = ""  # "" = as `variant` says, for CIFAR 3x3
    backbone.stage_strides = ()  # of first blocks; () = 1, 2, 2, 2, for CIFAR 1, 2, 2
    backbone.output_stride = 0  # last strides become dilations until met; 0 = none do
    # torchvision (the first dilated block keeps the dilation before it) | uniform
    backbone.dilation = "torchvision"
    backbone.multi_grid = ()  # factor on the dilation of each block of the last stage
    backbone.stride_on = ""  # bottleneck: 1x1 | 3x3; "" = as `variant` says
    backbone.groups = 1  # ResNeXt: groups of the 3x3 of a bottleneck; 32 in 32x4d
    backbone.group_width = 64  # their width in the first stage where width is 64; 4
    # Wide: basic blocks put out that many times the channels, bottlenecks hold them
    backbone.width_factor = 1.0
    backbone.se_reduction = 0  # squeeze-and-excitation; 16 = SE-ResNet, 0 = off
    backbone.dropout = 0.0  # after each branch's activation; probability
    backbone.stochastic_depth = 0.0  # drop rate of the last branch, linear in depth
    # A coefficient is a number, a list with one per block, or, by steps, by blocks, by
    # their number, by stage: {"linear": [1.0, 0.0, 0, 1000]} | {"depth": [1.0, 0.3]} |
    # {"power": -0.5} | {"stage2": 0.5}. Learned ones start from it.
    model.shortcut = shortcut = ConfigDict(type_safe=False)
    # identity | none | constant (identity times scale) | learned_scalar |
    # learned_channel | conv1x1 (a kernel in every block) | gate_exclusive (Highway) |
    # gate_shortcut | dropout
    shortcut.kind = "identity"
    # where the shape changes. A: zero-padded | B: 1x1 | C: 1x1 in every block | D: B
    # behind an average pooling; "" = as `backbone.variant` says
    shortcut.transition = ""
    shortcut.scale = 1.0  # W_c, a coefficient
    shortcut.rate = 0.5  # of kind dropout, a coefficient
    shortcut.gate_bias = -6.0  # of the gates' sigmoid at the start; number or list
    shortcut.span = 0  # 3x3 convolutions that a basic block skips over; 0 = 2
    model.branch = branch = ConfigDict(type_safe=False)
    branch.learn = "no"  # W_r: no (constant) | scalar | channel, from `scale` on
    branch.scale = 1.0  # W_r, a coefficient
    # he | zero_gamma (starts as the zero map) | fixup (without norm: Zhang 2019)
    branch.init = "he"
    model.gradient = gradient = ConfigDict(
        type_safe=False
    )  # backward only: the forward value stays, bit for bit; coefficients
    gradient.shortcut = 1.0  # alpha: factor on the cotangent of the shortcut
    gradient.branch_in = 1.0  # gamma on dL/dx of the branch; its weights see all of it
    gradient.branch_out = 1.0  # gamma on the whole branch, its weights included
    gradient.bypass = 0.0  # share by which dL/dx leaves the branch out; 1 = all of it
    gradient.detach_rate = (
        0.0  # probability of that in a step; the others make up for it
    )
    gradient.normalize = "no"  # no | block: each block keeps the norm of the cotangent
    gradient.long_skip = 1.0  # coefficient, one per level, shallow first
    gradient.aux = 1.0  # on what the auxiliary head sends into the backbone
    gradient.pyramid = 1.0  # coefficient, one per ASPP branch
    model.head = head = ConfigDict()
    # fcn | fcn32s | fcn16s | fcn8s | unet | resunet | deeplabv3 | deeplabv3plus
    head.name = "unet"
    head.channels = ()  # U-Nets: width per decoder block, deep first; () = from width
    head.width = 0  # DeepLab: channels of the pyramid; 0 = 256 * backbone width / 64
    head.rates = ()  # DeepLab: dilations of the pyramid; () = from output_stride
    head.separable = False  # DeepLab: 3x3 convolutions depthwise-separable
    head.convs = (0, 2)  # DeepLabV3+: 3x3 convolutions before the merge, and after it
    head.align_corners = False  # bilinear resizing puts corner pixels on each other
    head.dropout = 0.0  # before the classifier; probability
    model.long_skip = long_skip = ConfigDict(type_safe=False)
    # native (U-Nets and deeplabv3plus: concat, fcn16s and fcn8s: add) | concat | add |
    # gate (native, of the skip times a sigmoid of its 1x1 convolution) | none
    long_skip.kind = "native"
    long_skip.scale = 1.0  # forward factor kappa: coefficient, one per level
    model.aux = aux = ConfigDict()
    aux.weight = 0.0  # of the auxiliary loss on stage 3; 0 = no auxiliary head

    config.init = init = ConfigDict()  # where weights start from; "" = drawn at random
    init.variables_from = ""  # run folder: everything, from its best checkpoint
    init.backbone_from = ""  # run folder: its backbone alone (`resseg import` too)

    config.loss = loss = ConfigDict(type_safe=False)
    loss.terms = terms = ConfigDict()  # the weight of each in the sum
    terms.cross_entropy = 1.0
    terms.dice = 0.0
    terms.focal = 0.0
    loss.class_weights = ()  # one per class | "median_frequency" | () = all one
    loss.label_smoothing = 0.0  # share of the target spread evenly over the classes
    loss.focal_gamma = 2.0  # focusing exponent of the focal loss

    config.optim = optim = ConfigDict()
    optim.name = "adamw"  # sgd (with momentum) | adamw
    optim.learning_rate = 1e-3  # peak
    optim.schedule = "cosine"  # constant | poly | cosine, after the warm-up
    optim.warmup_steps = 0  # linear from zero
    optim.poly_power = 0.9
    optim.end_factor = 0.0  # the schedule ends at this share of the peak
    optim.momentum = 0.9  # sgd
    optim.b1 = 0.9  # adamw
    optim.b2 = 0.999  # adamw
    optim.weight_decay = 1e-4  # on kernels; never on norms, biases and path factors
    optim.backbone_factor = 1.0  # learning rate of the backbone over that of the head
    optim.clip_norm = placeholder(float)  # global gradient norm; None = no clipping
    optim.ema = 0.0  # decay of the averaged weights that are evaluated; 0 = off

    config.train = train = ConfigDict()
    train.steps = 300  # optimizer steps
    config.eval = evaluation = ConfigDict()
    evaluation.every = 0  # steps between evaluations; 0 = only at the end
    evaluation.boundary = 0.02  # Boundary IoU band, share of the image diagonal
    evaluation.predictions = 8  # overlays written after the last evaluation

    config.checkpoint = checkpoint = ConfigDict()
    checkpoint.every = 100  # steps between checkpoints of which the latest is kept
    checkpoint.keep_every = 0  # steps between checkpoints kept for good; 0 = none

    config.log = log = ConfigDict()
    log.every = 10  # steps between rows of metrics.jsonl and the progress line
    log.gradients = ConfigDict()
    log.gradients.every = 1  # steps between rows of the gradient log; 0 = off
    log.tensorboard = True  # write event files too

    config.mesh = mesh = ConfigDict()
    mesh.data = 0  # devices on the data axis; 0 = all there are
    return config
