"""The page's words in English and Simplified Chinese. The English text is the key."""

import re
from collections.abc import Iterable

import gradio as gr

CHINESE = {
    # tabs and labels
    "Classify": "分类",
    "Batch": "批量",
    "Training": "训练",
    "Test": "测试",
    "Inside ResNeXt": "ResNeXt 原理",
    "Model card": "模型卡",
    "Model": "模型",
    "Copy link": "复制链接",
    "The link was copied.": "链接已复制。",
    "Copy this address: {address}": "请复制此网址：{address}",
    "Photograph": "照片",
    "Most likely classes": "最可能的类别",
    "Number of classes": "显示的类别数",
    "Examples": "示例",
    "Credits": "图片来源",
    "or the URL of an image": "或图片网址",
    "Class to explain": "要解释的类别",
    "Opacity of the activation map": "类激活图不透明度",
    "Photographs or ZIP files": "照片或 ZIP 压缩包",
    "Download as CSV": "下载 CSV",
    "Compare with": "与其他模型比较",
    "Logarithmic loss axis": "损失使用对数坐标",
    "Cell values": "单元格数值",
    "counts": "数量",
    "rates": "比例",
    "Class order": "类别顺序",
    "training order": "训练时的顺序",
    "most confused first": "最易混淆的在前",
    "similar classes together": "相似类别相邻",
    "True class": "真实类别",
    "Predicted class": "预测类别",
    "Scores per class": "各类别指标",
    "Input channels": "输入通道数",
    "Filters": "卷积核数",
    "Kernel size": "卷积核大小",
    "Groups": "分组数",
    "Cardinality": "基数（cardinality）",
    "Run the three forms": "运行三种形式",
    # classify
    "{label}, {percent} percent.": "{label}，{percent}%。",
    "Probably {label}, {percent} percent.": "可能是 {label}，{percent}%。",
    "Not sure: the best guess is {label}, {percent} percent. The network knows only its {classes} classes.": (
        "不确定：最佳猜测是 {label}，{percent}%。该网络只认识它的 {classes} 个类别。"
    ),
    "This does not look like any of the {classes} classes.": "这看起来不属于 {classes} 个类别中的任何一个。",
    "looks like none of the classes": "看起来不属于任何类别",
    "network {network} ms · total {total} ms": "网络 {network} 毫秒 · 总计 {total} 毫秒",
    "Class activation map: the brighter an area, the stronger its evidence for {label}. "
    "The network sees only what is inside the frame.": (
        "类激活图：区域越亮，支持 {label} 的证据越强。网络只看到框内的部分。"
    ),
    "Network input: {size} × {size} pixels": "网络输入：{size} × {size} 像素",
    "Your photograph with the class activation map for {label}": "您的照片与 {label} 的类激活图",
    "Wrong?": "不对？",
    "Right class": "正确的类别",
    "none of these classes": "都不是",
    "I agree that my photograph and its class are stored in a data set on the Hub.": (
        "我同意将我的照片及其类别保存到 Hugging Face Hub 上的数据集。"
    ),
    "Send": "发送",
    "Thank you: it was stored.": "谢谢，已保存。",
    "Choose a photograph and its right class first.": "请先选择照片及其正确的类别。",
    "Tick the box first: without your consent nothing is stored.": (
        "请先勾选同意框：未经您同意不会保存任何内容。"
    ),
    "No more corrections can be stored at the moment.": "目前无法保存更多更正。",
    # batch
    "thumbnail": "缩略图",
    "file": "文件",
    "class": "类别",
    "probability": "概率",
    "{count} files, {bad} of them could not be read.": "共 {count} 个文件，其中 {bad} 个无法读取。",
    # teach
    "Teach": "教模型",
    "Teach your own classes": "教会模型您自己的类别",
    "Name two or more classes and add a few pictures to each. The model learns after every picture: "
    "there is nothing to start.": (
        "为两个或更多类别命名，并各添加几张图片。每添加一张图片，模型就会重新学习，无需手动开始。"
    ),
    "No other visitor can see your pictures. This server keeps them while you teach, and deletes them "
    "an hour after you leave. At most {classes} classes, {pictures} pictures of each, {megabytes} MB.": (
        "其他访问者无法看到您的图片。服务器仅在教学期间保留它们，并在您离开一小时后删除。"
        "最多 {classes} 个类别，每个类别 {pictures} 张图片，共 {megabytes} MB。"
    ),
    "Class {number}": "类别 {number}",
    "Name of the class": "类别名称",
    "Add pictures": "添加图片",
    "Camera": "摄像头",
    "Record": "录制",
    "Stop": "停止",
    "Close": "关闭",
    "Add a class": "添加类别",
    "Add a ZIP of class folders": "添加类别文件夹的 ZIP",
    "Start over": "重新开始",
    "Remove the class {name}": "删除类别 {name}",
    "Remove picture {number} of {name}": "删除 {name} 的第 {number} 张图片",
    "Remove this picture of {label}": "删除 {label} 的这张图片",
    "Show all {count}": "显示全部 {count} 张",
    "{count} pictures": "{count} 张图片",
    "1 picture": "1 张图片",
    "or drop them here": "或拖放到此处",
    "Adding {count} …": "正在添加 {count} 张…",
    "{name} could not be uploaded: it may be larger than 64 MB.": "无法上传 {name}：可能大于 64 MB。",
    "The camera cannot be used: allow it in the browser, on a page with https.": (
        "无法使用摄像头：请在浏览器中允许，且页面需使用 https。"
    ),
    "All classes and pictures will be removed.": "所有类别和图片都将被删除。",
    "Features from": "特征来自",
    "The bundled network knows many kinds of things, and is fast.": ("自带网络认识许多种事物，而且速度快。"),
    "Add a picture to two classes, and the results appear here.": (
        "为两个类别各添加一张图片，结果会显示在这里。"
    ),
    "Add a second picture to a class to see how well it is recognized.": (
        "为某个类别添加第二张图片，即可查看识别效果。"
    ),
    "How well it works": "效果如何",
    "leave-one-out accuracy": "留一法准确率",
    "cross-validation accuracy": "交叉验证准确率",
    "pictures": "图片数",
    "{correct} of {count} pictures were classified correctly by a classifier that was fitted without "
    "them. Pictures that are nearly the same make this too optimistic.": (
        "{count} 张图片中有 {correct} 张被未用它们拟合的分类器正确分类。几乎相同的图片会使该数值过于乐观。"
    ),
    "Not tested, with one picture each: {names}.": "未测试（各只有一张图片）：{names}。",
    "true ↓ predicted →": "真实 ↓ 预测 →",
    "Pictures that do not fit": "不相符的图片",
    "{label}, looks like {likelier}": "{label}，更像 {likelier}",
    "Try it": "试一试",
    "Take it home": "带走模型",
    "Name of the model": "模型名称",
    "Download model": "下载模型",
    "Download pictures": "下载图片",
    "Unpack the model, then show it, or fine-tune it with the unpacked pictures:": (
        "解压模型后，可以展示它，或用解压后的图片微调它："
    ),
    "Only I can see it": "仅自己可见",
    "Push to the Hub": "推送到 Hub",
    "Sign in with Hugging Face": "使用 Hugging Face 登录",
    "Sign out ({name})": "退出登录（{name}）",
    "Then the page is loaded again, without your pictures: download them first. Continue?": (
        "页面将重新加载，您的图片会丢失：请先下载图片。要继续吗？"
    ),
    "You did not sign in.": "您没有登录。",
    "Signing in failed: try again later.": "登录失败：请稍后再试。",
    "Back to the page": "返回页面",
    "You are not signed in, or no longer. Signing in at the top of this tab loads the page again: "
    "download the pictures first, and add the ZIP file of them afterwards.": (
        "您尚未登录，或登录已过期。在本标签页顶部登录会重新加载页面：请先下载图片，登录后再添加该 ZIP 文件。"
    ),
    "The Hub does not accept the name {name}: choose another one.": "Hub 不接受名称 {name}：请换一个。",
    "The Hub cannot be reached: try again later.": "无法连接 Hub：请稍后再试。",
    "The model is on the Hub:": "模型已在 Hub 上：",
    "You have a repository {name} already: choose another name.": "您已有名为 {name} 的仓库：请换一个名称。",
    "The Hub does not let this page create repositories for you: sign in again and allow it.": (
        "Hub 不允许此页面为您创建仓库：请重新登录并授权。"
    ),
    "The Hub did not take the model: try again later.": "Hub 未能接收模型：请稍后再试。",
    # models
    "cardinality {cardinality}, bottleneck width {width}": "基数 {cardinality}，瓶颈宽度 {width}",
    "{millions}M parameters": "{millions}M 参数",
    "{size} × {size} pixels": "{size} × {size} 像素",
    "{classes} classes": "{classes} 个类别",
    "commit {commit} on the Hub": "Hub 上的提交 {commit}",
    "Opening {model}": "正在打开 {model}",
    # training
    "Waiting for a training in {folder}.": "正在等待 {folder} 中的训练开始。",
    "Training: {epoch} of {epochs} epochs.": "训练中：已完成 {epoch} / {epochs} 轮。",
    "All epochs are trained: the network is being tested.": "所有轮次已训练完毕：正在测试网络。",
    "The training was interrupted after {epoch} of {epochs} epochs: the same command with --resume "
    "continues it.": "训练在第 {epoch} / {epochs} 轮后中断：用相同命令加 --resume 可继续。",
    "All epochs are trained, but the test was interrupted: the same command with --resume continues it.": (
        "所有轮次已训练完毕，但测试被中断：用相同命令加 --resume 可继续。"
    ),
    "The training is finished: {epoch} epochs.": "训练已完成：共 {epoch} 轮。",
    "About {time} left.": "约剩 {time}。",
    "{count} s": "{count} 秒",
    "{count} min": "{count} 分钟",
    "{hours} h {minutes} min": "{hours} 小时 {minutes} 分钟",
    "best epoch": "最佳轮次",
    "{epoch} of {epochs}": "{epoch} / {epochs}",
    "validation accuracy": "验证准确率",
    "validation loss": "验证损失",
    "training loss": "训练损失",
    "training": "训练",
    "validation": "验证",
    "epoch": "轮次",
    "loss": "损失",
    "accuracy": "准确率",
    "learning rate": "学习率",
    "learning<br>rate": "学习率",
    "best epoch {epoch}": "最佳轮次 {epoch}",
    "Recipe": "训练配置",
    "Data set": "数据集",
    "Software and hardware": "软件与硬件",
    "yes": "是",
    "no": "否",
    "{model} has no learning curves to compare.": "{model} 没有可比较的学习曲线。",
    # test
    "top-1 accuracy": "top-1 准确率",
    "top-5 accuracy": "top-5 准确率",
    "images": "图像数",
    "expected calibration error": "期望校准误差",
    "true": "真实类别",
    "predicted": "预测类别",
    "precision": "精确率",
    "recall": "召回率",
    "F1": "F1 值",
    "Sample predictions, spread over the classes": "预测示例（取自各个类别）",
    "There was no test set: each training image was classified by a classifier that was fitted without "
    "it ({method}).": "没有测试集：每张训练图像都由未用它拟合的分类器分类（{method}）。",
    "✓ correct": "✓ 正确",
    "✗ wrong": "✗ 错误",
    "result": "结果",
    "Most confident mistakes": "置信度最高的错误",
    "other photographs refused": "拒绝的其他照片",
    "Doubtful labels": "可疑的标签",
    "label": "标签",
    "looks like": "更像",
    "probability of the label": "标签的概率",
    "confidence": "置信度",
    "{images} images": "{images} 张图像",
    "{rate} of the true class": "占真实类别的 {rate}",
    "{true} predicted as {predicted}": "{true} 被预测为 {predicted}",
    "No test image of {true} was predicted as {predicted}.": "没有 {true} 的测试图像被预测为 {predicted}。",
    "One test image of {true} was predicted as {predicted}.": (
        "{true} 的测试图像中有 1 张被预测为 {predicted}。"
    ),
    "{count} test images of {true} were predicted as {predicted}.": (
        "{true} 的测试图像中有 {count} 张被预测为 {predicted}。"
    ),
    "{count} of {images} test images of {true} were classified correctly.": (
        "{true} 的 {images} 张测试图像中有 {count} 张分类正确。"
    ),
    "This repository has no thumbnails of these images.": "此仓库没有这些图像的缩略图。",
    "This repository has thumbnails of {shown} of them.": "此仓库有其中 {shown} 张的缩略图。",
    "Confusion matrix": "混淆矩阵",
    "The bluer the cell, the larger its share of the true class.": "单元格越蓝，占真实类别的比例越大。",
    "Drag to zoom in, double-click to zoom out.": "拖动放大，双击还原。",
    "There are too many classes to draw the matrix: choose two of them.": (
        "类别太多，无法绘制矩阵：请选择其中两个。"
    ),
    "Images in a cell": "单元格中的图像",
    "Click a cell of the confusion matrix, or choose the two classes.": (
        "点击混淆矩阵的单元格，或选择两个类别。"
    ),
    "Find a class": "查找类别",
    "Confusion matrix of {classes} classes: {correct} of {images} images are classified correctly.": (
        "{classes} 个类别的混淆矩阵：{images} 张图像中有 {correct} 张分类正确。"
    ),
    "The most frequent confusion: {count} images of {true} predicted as {predicted}.": (
        "最常见的混淆：{true} 有 {count} 张图像被预测为 {predicted}。"
    ),
    "Reliability diagram": "可靠性图",
    "On the dashed line, confidence equals accuracy. "
    "The mean distance from it is the expected calibration error: {error}.": (
        "虚线上置信度等于准确率。与虚线的平均距离是期望校准误差：{error}。"
    ),
    "Before calibration it was {error}.": "校准前为 {error}。",
    "before calibration": "校准前",
    "after calibration": "校准后",
    "The network is under-confident: its accuracy is higher than its confidence.": (
        "该网络置信度偏低：准确率高于置信度。"
    ),
    "The network is over-confident: its accuracy is lower than its confidence.": (
        "该网络过度自信：准确率低于置信度。"
    ),
    # inside
    "Grouped convolution": "分组卷积",
    "Three equivalent forms of a ResNeXt block": "ResNeXt 块的三种等价形式",
    "ResNet-50 and ResNeXt-50 compared": "ResNet-50 与 ResNeXt-50 对比",
    "Possible numbers of groups:": "可用的分组数：",
    "Examples:": "示例：",
    "From {standard} to {grouped} weights": "从 {standard} 减到 {grouped} 个权重",
    "First 3 × 3 of ResNeXt-50: from {standard} to {grouped}": (
        "ResNeXt-50 的第一个 3 × 3 卷积：从 {standard} 减到 {grouped}"
    ),
    "Standard convolution": "标准卷积",
    "Grouped convolution, {groups} groups": "分组卷积，{groups} 组",
    "Each filter sees every channel.": "每个卷积核看到所有通道。",
    "Each filter sees only its group's channels: {share} of {channels}.": (
        "每个卷积核只看到本组的通道：{channels} 个中的 {share} 个。"
    ),
    "{channels} channels and {filters} filters are not both divisible by {groups}.": (
        "{channels} 个通道和 {filters} 个卷积核不能同时被 {groups} 整除。"
    ),
    "standard": "标准",
    "grouped": "分组",
    "Parameters": "参数量",
    "Multiply-adds": "乘加运算量",
    "Multiply-adds on 56 × 56 pixels": "56 × 56 像素上的乘加运算量",
    "{count} input channels": "{count} 个输入通道",
    "{count} filters": "{count} 个卷积核",
    "channels": "通道",
    "filters": "卷积核",
    "The kernel as a matrix, filters by channels. Cells without color are zero.": (
        "写成矩阵的卷积核，行为卷积核，列为通道。未着色处为零。"
    ),
    "aggregated paths": "聚合路径",
    "early concatenation": "提前拼接",
    "grouped convolution": "分组卷积",
    "{form}: {cardinality} paths of width 4, from 256 channels to 256 channels": (
        "{form}：{cardinality} 条宽度为 4 的路径，由 256 通道到 256 通道"
    ),
    "One output channel of form {form}. All three pictures look the same.": (
        "形式 {form} 的一个输出通道。三张图看起来相同。"
    ),
    "largest difference": "最大差异",
    "largest output": "最大输出",
    "All three forms have {cardinality} paths, the same random weights and the same random input.": (
        "三种形式都有 {cardinality} 条路径，随机权重和随机输入也相同。"
    ),
    "Difference and output on a logarithmic scale": "差异与输出（对数刻度）",
    "Cardinality at equal complexity": "等复杂度下的基数",
    "Table 2 of the paper:": "论文表 2：",
    "by stage": "各阶段",
    "{weights} weights per block": "每个块 {weights} 个权重",
    "Paths in a residual block": "残差块中的路径",
    "More but narrower paths, at nearly the same cost.": "路径更多、更窄，代价几乎相同。",
    "{count} paths of {width} channels": "{count} 条 {width} 通道的路径",
    # card
    "Download the weights": "下载权重",
    "This repository has no README.md.": "此仓库没有 README.md。",
    "Table {number}": "表格 {number}",
    "This README is longer than 1 MiB: only the beginning is shown.": (
        "此 README 超过 1 MiB：只显示开头部分。"
    ),
    "This README takes too long to render: it is shown as plain text.": (
        "此 README 渲染耗时过长：以纯文本显示。"
    ),
    "This model comes with the project: run these lines in the project's folder.": (
        "此模型随项目提供：请在项目文件夹中运行这些代码。"
    ),
    "This model is in a folder of this server, not on the Hub: run these lines in its parent folder.": (
        "此模型位于本服务器的文件夹中，不在 Hub 上：请在其上级文件夹中运行这些代码。"
    ),
    # files
    "This repository has no {file}, so {otherwise}.": "此仓库没有 {file}：{otherwise}。",
    "The {file} of this repository cannot be read ({fault}), so {otherwise}.": (
        "此仓库的 {file} 无法读取（{fault}）：{otherwise}。"
    ),
    "there are no learning curves to show": "没有学习曲线可显示",
    "its training recipe is unknown": "训练配置未知",
    "there are no test results to show": "没有测试结果可显示",
    "The test results of this repository are of other weights, so they are not shown.": (
        "此仓库的测试结果属于其他权重，因此不予显示。"
    ),
}

# The settings of a recipe by their names in recipe.json. In English, the names themselves are shown.
_SETTINGS = {
    "model": "模型",
    "epochs": "训练轮数",
    "batch_size": "批大小",
    "image_size": "图像大小",
    "train_size": "训练图像大小",
    "optimizer": "优化器",
    "learning_rate": "学习率",
    "weight_decay": "权重衰减",
    "warmup_epochs": "预热轮数",
    "cosine": "余弦退火",
    "label_smoothing": "标签平滑",
    "labels": "标签形式",
    "flip": "翻转",
    "zoom": "缩放",
    "rotation": "旋转",
    "jitter": "色彩抖动",
    "low_res": "低分辨率",
    "mean": "均值",
    "std": "标准差",
    "crop_pct": "裁剪比例",
    "freeze_bn": "冻结批归一化",
    "freeze_at": "冻结的阶段数（自输入端）",
    "layer_decay": "逐层学习率衰减",
    "unfreeze_epochs": "逐级解冻轮数",
    "class_weights": "类别权重",
    "ema": "权重滑动平均",
    "clip_norm": "梯度范数上限",
    "accumulate": "梯度累积步数",
    "patience": "早停轮数",
    "keep_last": "保留最后一轮",
    "precise_bn": "重算批归一化统计量的图像数",
    "calibrate": "校准",
    "detect_unknown": "未知照片检测",
    "probe_passes": "线性探测遍数",
    "mixup": "MixUp",
    "cutmix": "CutMix",
    "precision": "数值精度",
    "seed": "随机种子",
    "name": "名称",
    "train images": "训练图像",
    "val images": "验证图像",
    "test images": "测试图像",
    "fingerprint": "指纹",
    "hardware": "硬件",
}

_COMMIT = r"(?: of \S+ \(commit \w+\))?"  # after the name of a file, if it is one of the Hub's
# Error messages of this project that a visitor may see, as regular expressions. Others stay English.
_ERRORS = {
    r".+ Until then, the copy of commit (?P<commit>\w+) is used\.": (
        "暂时无法更新：使用提交 {commit} 的副本。"
    ),
    r".+ Until then, this page shows the bundled model\.": (
        "暂时无法打开所需模型：先显示自带模型，随后会自动切换。"
    ),
    r"The Hub does not accept the token .+ downloaded without it: .+": (
        "Hub 不接受所用的令牌：已不用令牌下载。"
    ),
    r"Some results of (?P<model>.+) are missing: .+": "{model} 的部分结果无法下载。",
    r"(?P<file>.+) is .+ not supported: convert it to JPEG or PNG\.": (
        "{file} 的格式不受支持：请转换为 JPEG 或 PNG。"
    ),
    r"(?P<file>.+) cannot be read as an image: it is not an image of a known format\.": (
        "{file} 无法作为图像读取：不是已知的图像格式。"
    ),
    r"(?P<file>.+) cannot be read as an image: it is empty\.": "{file} 无法作为图像读取：文件为空。",
    r"(?P<file>.+) cannot be read as an image: it is a web page\.": "{file} 无法作为图像读取：这是网页。",
    r"(?P<file>.+) cannot be read as an image: it is a ZIP file\.": (
        "{file} 无法作为图像读取：这是 ZIP 文件。"
    ),
    r"(?P<file>.+) cannot be read as an image: it is a pointer of Git LFS: .+": (
        "{file} 无法作为图像读取：这是 Git LFS 指针，请先运行 `git lfs pull`。"
    ),
    r"(?P<file>.+) cannot be read as an image: .+ or of a kind that is not supported\.": (
        "{file} 无法作为图像读取：文件已损坏或类型不受支持。"
    ),
    r"(?P<file>.+) cannot be read as an image: .+": "{file} 无法作为图像读取：文件已损坏。",
    r"(?P<file>.+) has (?P<width>\d+) x (?P<height>\d+) pixels, more than the (?P<most>[\d,]+) allowed: .+": (
        "{file} 有 {width} × {height} 像素，超过允许的 {most}：请先缩小。"
    ),
    r"(?P<file>.+) is larger than (?P<most>\d+) MiB: make it smaller first\.": (
        "{file} 大于 {most} MiB：请先缩小。"
    ),
    r"(?P<file>.+) has far more than the (?P<most>[\d,]+) pixels allowed: .+": (
        "{file} 远远超过允许的 {most} 像素：请先缩小。"
    ),
    r"(?P<file>.+) is a large image in the form of text: .+": "{file} 是文本形式的大图像：请先另存为 PNG。",
    r"(?P<file>.+) draws its image more than (?P<most>\d+) times over: .+": (
        "{file} 的扫描次数超过 {most}：请先重新保存。"
    ),
    r"(?P<file>.+) is a corrupt ZIP file: pack it again\.": "{file} 是损坏的 ZIP 文件：请重新打包。",
    r"(?P<file>.+) cannot be unpacked: .+": "{file} 无法解压，文件损坏或压缩方式未知：请重新打包。",
    r"(?P<file>.+) contains far more than (?P<most>\d+) files: .+": (
        "{file} 中的文件远多于 {most} 个：请减少文件。"
    ),
    r"(?P<file>.+) contains no files: .+": "{file} 中没有文件：请把照片打包进去。",
    r"(?P<file>.+) is encrypted: .+": "{file} 已加密：请去掉密码后重新打包。",
    r"Only the first (?P<most>\d+) files are classified: .+": "只分类前 {most} 个文件：其余请另行上传。",
    r"(?P<file>.+) is not a ZIP file: pack the class folders into one\.": (
        "{file} 不是 ZIP 文件：请把类别文件夹打包成一个 ZIP。"
    ),
    r"(?P<file>.+) is in no class folder: pack a folder for each class\.": (
        "{file} 不在任何类别文件夹中：请为每个类别打包一个文件夹。"
    ),
    r"(?P<same>\d+) of the pictures were there already\.": "其中 {same} 张图片已经存在。",
    r"This class no longer exists: add it again\.": "该类别已不存在：请重新添加。",
    r"There are (?P<most>\d+) classes already: remove one first\.": "已有 {most} 个类别：请先删除一个。",
    r"(?P<name>.+) has (?P<most>\d+) pictures already: remove some first\.": (
        "{name} 已有 {most} 张图片：请先删除一些。"
    ),
    r"Your pictures take (?P<most>\d+) MB already: remove some first\.": (
        "您的图片已占用 {most} MB：请先删除一些。"
    ),
    r"This page holds as many pictures of visitors as it can at the moment: try again later\.": (
        "此页面目前无法保存更多访问者的图片：请稍后再试。"
    ),
    r"The name of a class has 1 to (?P<most>\d+) characters, .+": (
        '类别名称应有 1 到 {most} 个字符，不含 / \\ : * ? " < > |，且不以句点开头：请换一个名称。'
    ),
    r"There is a class (?P<name>.+) already: choose another name\.": "已有类别 {name}：请换一个名称。",
    r"Two classes need a picture first: add one to each\.": "请先为两个类别各添加一张图片。",
    r"(?P<url>.+) cannot be fetched: .+": "无法获取 {url}：请检查网址，或自行下载后把文件拖到这里。",
    r"(?P<model>.+) is not offered on this page: choose one from the list\.": (
        "本页不提供 {model}：请从列表中选择。"
    ),
    r"(?P<model>.+) is not on the Hub, nor a folder here.+": "Hub 上没有 {model}：请检查名称。",
    r"(?P<model>.+) has no revision (?P<revision>.+): look at its branches and commits on the Hub\.": (
        "{model} 没有版本 {revision}：请查看 Hub 上的分支与提交。"
    ),
    r"(?P<model>.+) has no int8 graph: .+": "{model} 没有 int8 计算图：以 float32 分类。",
    r"(?P<model>.+) has a stale int8 graph, made of other weights: .+": (
        "{model} 的 int8 计算图属于另一组权重：以 float32 分类。"
    ),
    r"(?P<model>.+) has an invalid int8 graph .+": "{model} 的 int8 计算图无法使用：以 float32 分类。",
    r"An int8 graph needs OpenVINO: .+": "int8 计算图需要 OpenVINO：以 float32 分类。",
    rf"(?P<file>\S+){_COMMIT} .+ Until then, photographs of none of the classes are not recognized\.": (
        "{file} 无效或与权重不符，因此无法识别不属于任何类别的照片：请重新训练。"
    ),
    # A model that cannot be opened. Reasons come before the files that they are about.
    r"'?(?P<model>.+?)'? is (?:not a valid repository id: .+|neither a folder nor a Hub repository .+)": (
        "{model} 不是有效的仓库名称：应为 OWNER/NAME。"
    ),
    r"(?P<model>.+) is not a model repository: it has no (?P<file>\S+)\. .+": (
        "{model} 不是模型仓库：缺少 {file}。请选择 safetensors 格式的 timm 图像分类模型。"
    ),
    r"(?P<model>.+) has its weights (?:in \d+ files|only as a pickle), .+": (
        "{model} 的权重格式不受支持：请转换为 model.safetensors。"
    ),
    r"(?P<model>.+) has weights of [\d,]+ MB, but the network .+": (
        "{model} 的权重大于 config.json 中的网络：不是有效的模型仓库。"
    ),
    r"(?:The bundled model )?(?P<model>.+?)(?: is a folder and)? has no revisions: .+": (
        "{model} 没有版本可选：请去掉 @ 之后的部分。"
    ),
    r"(?P<model>.+) is gated: .+": "{model} 需要申请访问权限：请在 Hub 上的页面申请。",
    r"(?P<model>.+) arrived damaged: .+": "{model} 下载时损坏，已删除：请重试。",
    r"HF_HUB_OFFLINE is set, so (?P<model>.+) could not be downloaded: .+": (
        "本服务器处于离线模式，无法下载 {model}。"
    ),
    r"HF_TOKEN has characters that no token has, so (?P<model>.+) could not be downloaded: .+": (
        "本服务器的令牌无效，未能下载 {model}。"
    ),
    r"The Hub does not accept the token that was sent, so (?P<model>.+) could not be downloaded: .+": (
        "Hub 不接受本服务器的令牌，未能下载 {model}。"
    ),
    r"The Hub (?:does not allow the download|refused it).*, so (?P<model>.+) could not be downloaded: .+": (
        "Hub 拒绝下载 {model}。"
    ),
    r"The Hub no longer has one of its files, so (?P<model>.+) could not be downloaded: .+": (
        "{model} 的一个文件已不在 Hub 上：请重试。"
    ),
    r".*config\.json.*(?:does not name an arch|Unknown arch|does not build|square images).*": (
        "此模型的网络不受支持：只能打开 timm 的 ResNeXt 与 ResNet 图像分类器，输入为正方形彩色图像。"
    ),
    rf"(?P<file>.*config\.json){_COMMIT} (?:is missing|cannot be read|is not valid JSON|cannot be used).+": (
        "{file} 缺失或无效，无法打开此模型：请检查或重新下载。"
    ),
    r".+ (?:needs an image size that is a multiple|would take gigabytes of memory) .+": (
        "此模型的图像尺寸不受支持：请更换尺寸或模型。"
    ),
    rf"(?P<file>\S+){_COMMIT} is a Git LFS pointer, not the weights: .+": (
        "{file} 只是 Git LFS 指针，不是权重：请运行 git lfs pull。"
    ),
    rf"(?P<file>\S+){_COMMIT} (?:is missing: download the repository|is not a valid safetensors file"
    r"|has no tensor|has a tensor).+": "{file} 缺失、损坏或与 config.json 不符：请重新下载或重新训练。",
    rf"(?P<file>\S+){_COMMIT}: tensor .+": "{file} 的内容无效或与 config.json 不符：请重新下载或重新训练。",
    r"The network's output is NaN or infinite, .+": "网络输出不是有限的数，权重无效：请重新下载或重新训练。",
    r"OpenVINO cannot compile the network .+": "OpenVINO 无法编译此网络：请选择其他模型。",
    r"The Hub cannot be reached, so (?P<model>.+) could not be downloaded: .+": (
        "无法连接 Hub，未能下载 {model}：请稍后再试。"
    ),
    r"The Hub failed \(HTTP (?P<status>\d+)\), so (?P<model>.+) could not be downloaded.+": (
        "Hub 出现故障（HTTP {status}），未能下载 {model}：请稍后再试。"
    ),
    r"The Hub asks for fewer requests, so (?P<model>.+) could not be downloaded: .+": (
        "Hub 请求过多，未能下载 {model}：请稍后再试。"
    ),
    r".+, so (?P<model>.+) could not be downloaded: .+": "未能下载 {model}：请稍后再试。",
}

# What browsers translate: words of Gradio (6.31) that its own dictionaries lack, since screen readers would
# say "common.complete", and the labels that `translate_lazy` adds. All of it is sent before the first view.
_IN_BROWSERS = {
    "en": {"common.complete": "Complete"},
    "zh": {
        "common.complete": "完成",
        "common.progress": "进度",
        "status.queue_position": "排队中：{position} / {size}",
    },
}
I18N = gr.I18n(**_IN_BROWSERS, **{"zh-CN": _IN_BROWSERS["zh"]})


def translate_lazy(text: str):
    """The label of a component, which is translated in the browser.

    Args:
        text: The English label, a key of `CHINESE`. It has to be known before the page is sent, so event
            handlers use `translate`.
    """
    _IN_BROWSERS["en"][text] = text
    _IN_BROWSERS["zh"][text] = CHINESE[text]
    return I18N(text)


def request_language(request: gr.Request | None) -> str:
    """The language that the visitor's browser prefers: "zh" if that is Chinese, otherwise "en"."""
    preferred = request.headers.get("accept-language", "") if request else ""
    return "zh" if preferred.lower().startswith("zh") else "en"


def translate(language: str, text: str, **values) -> str:
    """A sentence of the page in a language, with its values filled in.

    Args:
        language: "en" or "zh".
        text: The English sentence, a key of `CHINESE`. Any other text is not translated.
        values: The values of the placeholders.
    """
    return (CHINESE.get(text, text) if language == "zh" else text).format(**values)


def join_sentences(language: str, sentences: Iterable[str]) -> str:
    """Sentences as one text. Chinese has no spaces between them."""
    return ("" if language == "zh" else " ").join(sentences)


def translate_setting(language: str, name: str) -> str:
    """The name of a recipe's setting in a language. The name may be any text."""
    english = name.replace("_", " ")
    return _SETTINGS.get(name, english) if language == "zh" else english


def translate_error(language: str, message: str) -> str:
    """An error message in a language; in English if it is not one that visitors commonly see."""
    if language == "zh":
        for pattern, chinese in _ERRORS.items():
            if match := re.fullmatch(pattern, message, re.DOTALL):
                return chinese.format(**match.groupdict())
    return message
