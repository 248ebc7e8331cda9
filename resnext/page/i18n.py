"""The page's words, in English and Simplified Chinese; the English text is the key."""

import re

import gradio as gr

CHINESE = {
    # tabs and labels
    "Classify": "分类",
    "Batch": "批量",
    "Training": "训练",
    "Test": "测试",
    "Inside ResNeXt": "ResNeXt 内部",
    "Model card": "模型卡",
    "Model": "模型",
    "Copy link": "复制链接",
    "Photograph": "照片",
    "Likeliest classes": "最可能的类别",
    "Classes to name": "显示的类别数",
    "Examples": "示例",
    "Credits": "出处",
    "or the address of an image": "或图片网址",
    "Class to explain": "要解释的类别",
    "Opacity of the map": "热图不透明度",
    "Photographs, or a ZIP of them": "多张照片，或一个 ZIP 压缩包",
    "Download as CSV": "下载 CSV",
    "Compare with": "与其他模型比较",
    "Logarithmic loss": "损失取对数坐标",
    "Cells show": "单元格显示",
    "counts": "数量",
    "rates": "比例",
    "Order of classes": "类别顺序",
    "as trained": "训练顺序",
    "most confused first": "最易混淆者优先",
    "similar ones together": "相似类别聚在一起",
    "True class": "真实类别",
    "Predicted class": "预测类别",
    "Per class": "各类别",
    "Input channels": "输入通道",
    "Filters": "卷积核数",
    "Kernel": "核大小",
    "Groups": "分组数",
    "Cardinality": "基数（cardinality）",
    "Run the three forms": "运行三种形式",
    # classify
    "{label}, {percent} percent.": "{label}，{percent}%。",
    "Probably {label}, {percent} percent.": "可能是 {label}，{percent}%。",
    "Not sure: {label} is only the best guess, {percent} percent. The network knows {classes} classes and nothing else.": "不确定：{label} 只是最佳猜测，{percent}%。该网络只认识 {classes} 个类别。",
    "network {network} ms · in all {all} ms": "网络 {network} 毫秒 · 共 {all} 毫秒",
    "The brighter, the more this place speaks for {label}. The frame is all that the network saw.": "越亮的位置越支持 {label}。网络只看到框内部分。",
    "What the network saw: {size} × {size} pixels": "网络看到的：{size} × {size} 像素",
    "Your photograph, with the places that speak for {label}": "您的照片，以及支持 {label} 的位置",
    # batch
    "thumbnail": "缩略图",
    "file": "文件",
    "class": "类别",
    "probability": "概率",
    "{count} files, {bad} of them could not be read.": "共 {count} 个文件，其中 {bad} 个无法读取。",
    # models
    "cardinality {cardinality}, bottleneck width {width}": "基数 {cardinality}，瓶颈宽度 {width}",
    "{millions} M parameters": "{millions} 百万参数",
    "{size} × {size} pixels": "{size} × {size} 像素",
    "{classes} classes": "{classes} 个类别",
    "on the Hub at {commit}": "Hub 上的版本 {commit}",
    "Opening {model}": "正在打开 {model}",
    # training
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
    "Recipe": "训练配方",
    "Data set": "数据集",
    "Software and hardware": "软件与硬件",
    "yes": "是",
    "no": "否",
    "{model} has no learning curves to compare with.": "{model} 没有可比较的学习曲线。",
    # test
    "top-1 accuracy": "top-1 准确率",
    "top-5 accuracy": "top-5 准确率",
    "images": "图像数",
    "expected calibration error": "期望校准误差",
    "true": "真实",
    "predicted": "预测",
    "precision": "精确率",
    "recall": "召回率",
    "First predictions": "前十个预测",
    "✓ right": "✓ 正确",
    "✗ wrong": "✗ 错误",
    "Most confident mistakes": "最自信的错误",
    "probability that the network gave": "网络给出的概率",
    "share that was right": "实际正确的比例",
    "bin": "区间",
    "{images} images": "{images} 张图像",
    "{rate} of the true class": "占真实类别的 {rate}",
    "{true} taken for {predicted}": "{true} 被认作 {predicted}",
    "{count} test images of {true} were taken for {predicted}.": "{true} 的测试图像中有 {count} 张被认作 {predicted}。",
    "This repository holds no thumbnails of them.": "此仓库没有它们的缩略图。",
    "Choose a cell of the heatmap, or the two classes.": "点击热图中的一格，或选择两个类别。",
    "No test image of {true} was taken for {predicted}.": "没有 {true} 的测试图像被认作 {predicted}。",
    "One test image of {true} was taken for {predicted}.": "{true} 的测试图像中有 1 张被认作 {predicted}。",
    "{count} of {images} test images of {true} were right.": "{true} 的 {images} 张测试图像中有 {count} 张判断正确。",
    "This repository holds thumbnails of {shown} of them.": "此仓库有其中 {shown} 张的缩略图。",
    "Confusion matrix": "混淆矩阵",
    "Images of a cell": "单元格中的图像",
    "Reliability": "可靠性",
    "Find a class": "查找类别",
    "result": "结果",
    "The bluer a cell, the more images of the true class are in it.": "单元格越蓝，其中真实类别的图像越多。",
    "Drag to enlarge a part, double-click to see all.": "拖动可放大局部，双击恢复全图。",
    "There are too many classes to draw: choose two of them.": "类别太多，无法绘制：请选择其中两个。",
    "Confusion matrix of {classes} classes: {right} of {images} images are right.": "{classes} 个类别的混淆矩阵：{images} 张图像中有 {right} 张判断正确。",
    "The most frequent confusion: {count} of {true} taken for {predicted}.": "最常见的混淆：{true} 有 {count} 张被认作 {predicted}。",
    "On the dashed line, a probability means what it says. The mean distance from it is the expected calibration error: {error}.": "在虚线上，概率名副其实。与虚线的平均距离即期望校准误差：{error}。",
    "The network is right more often than it says.": "该网络的实际正确率高于它给出的概率。",
    "The network is right less often than it says.": "该网络的实际正确率低于它给出的概率。",
    # inside
    "Grouped convolution": "分组卷积",
    "Three equal forms of the residual unit": "残差单元的三种等价形式",
    "ResNet-50 beside ResNeXt-50": "ResNet-50 与 ResNeXt-50 对照",
    "Groups that divide both:": "能同时整除两者的组数：",
    "Examples:": "示例：",
    "{standard} or {grouped} weights": "{standard} 或 {grouped} 个权重",
    "ResNeXt-50's first: {standard} or {grouped}": "ResNeXt-50 的第一个：{standard} 或 {grouped}",
    "Standard convolution": "标准卷积",
    "Grouped convolution, {groups} groups": "分组卷积，{groups} 组",
    "Each filter sees every channel.": "每个卷积核看到所有通道。",
    "Each filter sees only its group's channels: {share} of {channels}.": "每个卷积核只看到本组的通道：{channels} 个中的 {share} 个。",
    "{groups} groups do not divide {channels} channels and {filters} filters.": "{groups} 组不能整除 {channels} 个通道和 {filters} 个卷积核。",
    "standard": "标准",
    "grouped": "分组",
    "Parameters": "参数",
    "Multiply-adds": "乘加",
    "Multiply-adds on 56 × 56 pixels": "56 × 56 像素上的乘加",
    "input channels": "输入通道",
    "channels": "通道",
    "filters": "卷积核",
    "The kernel as a matrix of filters by channels: what is not coloured is zero.": "卷积核写成“卷积核 × 通道”矩阵：未着色处为零。",
    "paths, added": "并行路径相加",
    "early concatenation": "提前拼接",
    "grouped convolution": "分组卷积",
    "{form}: {cardinality} paths of width 4 from 256 channels to 256": "{form}：{cardinality} 条宽度为 4 的路径，由 256 通道到 256 通道",
    "An output channel of form {form}: the three pictures look the same.": "形式 {form} 的一个输出通道：三张图看起来相同。",
    "largest difference": "最大差异",
    "largest output": "最大输出",
    "The same random weights and inputs went through all three forms, of {cardinality} paths.": "相同的随机权重和输入经过三种形式，各 {cardinality} 条路径。",
    "Difference and output on a logarithmic scale": "差异与输出（对数刻度）",
    "Cardinality at equal complexity": "等复杂度下的基数",
    "Table 2 of the paper:": "论文表 2：",
    "by stage": "按阶段",
    "{weights} weights in a unit": "每个单元 {weights} 个权重",
    "Paths in a residual unit": "残差单元中的路径",
    "More paths, each thinner, at nearly the same cost.": "路径更多、更细，代价几乎相同。",
    "{count} paths of {width} channels": "{count} 条 {width} 通道的路径",
    # card
    "Download the weights": "下载权重",
    "This repository has no README.md.": "此仓库没有 README.md。",
    "Table {number}": "表格 {number}",
    "This README is longer than 1 MiB: the rest is left out.": "此 README 超过 1 MiB：其余部分已省略。",
    "This README takes too long to lay out: here is its text.": "此 README 排版耗时过长：以下为其文本。",
    "This model comes with the project: run these lines in its folder.": "此模型随项目提供：请在项目文件夹中运行这些命令。",
    "This model lies in a folder of this server, not on the Hub: the lines work beside that folder.": "此模型位于本服务器的文件夹中，不在 Hub 上：请在该文件夹旁运行这些命令。",
    # files
    "This repository has no {file}, so {otherwise}.": "此仓库没有 {file}：{otherwise}。",
    "The {file} of this repository cannot be read ({fault}), so {otherwise}.": "此仓库的 {file} 无法读取（{fault}）：{otherwise}。",
    "there are no learning curves to show": "没有学习曲线可显示",
    "nothing is known of how it was trained": "不知道它如何训练",
    "there is no test to show": "没有测试结果可显示",
}

# Settings of a recipe by their names in recipe.json, which English shows as they are.
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
    "mean": "均值",
    "std": "标准差",
    "crop_pct": "裁剪比例",
    "freeze_bn": "冻结批归一化",
    "layer_decay": "逐层学习率衰减",
    "unfreeze_epochs": "逐级解冻轮数",
    "precision": "数值精度",
    "seed": "随机种子",
    "name": "名称",
    "train images": "训练图像",
    "val images": "验证图像",
    "test images": "测试图像",
    "fingerprint": "指纹",
    "hardware": "硬件",
}

# What may go wrong, as the rest of the project says it; what is not here stays English.
_FAULTS = {
    r"(?P<file>.+) cannot be read as an image: it is not an image of a known format\.": "{file} 无法作为图像读取：不是已知的图像格式。",
    r"(?P<file>.+) cannot be read as an image: .+": "{file} 无法作为图像读取：文件已损坏。",
    r"(?P<file>.+) has (?P<width>\d+) x (?P<height>\d+) pixels, more than the (?P<most>[\d,]+) allowed: make it smaller first\.": "{file} 有 {width} × {height} 像素，超过允许的 {most}：请先缩小。",
    r"(?P<file>.+) is larger than (?P<most>\d+) MiB: make it smaller first\.": "{file} 大于 {most} MiB：请先缩小。",
    r"(?P<file>.+) is a damaged ZIP: pack it again\.": "{file} 是损坏的 ZIP：请重新打包。",
    r"Only the first (?P<most>\d+) files are classified: drop the rest afterwards\.": "只分类前 {most} 个文件：其余请稍后再拖入。",
    r"(?P<url>.+) cannot be fetched: .+": "无法获取 {url}：请检查网址，或自行下载后把文件拖到这里。",
    r"(?P<model>.+) is not offered on this page: choose one from the list\.": "本页不提供 {model}：请从列表中选择。",
    r"(?P<model>.+) is not on the Hub, nor a folder here.+": "Hub 上没有 {model}：请检查名称。",
    r"(?P<model>.+) has no revision (?P<revision>.+): look at its branches and commits on the Hub\.": "{model} 没有版本 {revision}：请查看 Hub 上的分支与提交。",
    r"(?P<model>.+) has no int8 graph: .+": "{model} 没有 int8 计算图：以 float32 分类。",
    r"(?P<model>.+) has a stale int8 graph, made of other weights: .+": "{model} 的 int8 计算图属于另一组权重：以 float32 分类。",
    r"(?P<model>.+) has an invalid int8 graph .+": "{model} 的 int8 计算图无法使用：以 float32 分类。",
    r"An int8 graph needs OpenVINO: .+": "int8 计算图需要 OpenVINO：以 float32 分类。",
    r"The Hub cannot be reached and (?P<model>.+) was never downloaded.+": "无法连接 Hub，且 {model} 从未下载过：请稍后再试。",
}

_ENGLISH = {text: text for text in CHINESE}
I18N = gr.I18n(**{"en": _ENGLISH, "zh": CHINESE, "zh-CN": CHINESE})


def translated(text: str):
    """A component's label, in the browser's language."""
    return I18N(text)


def request_language(request: gr.Request | None) -> str:
    """ "zh" or "en": what the visitor's browser asks for first."""
    asked = request.headers.get("accept-language", "") if request else ""
    return "zh" if asked.lower().startswith("zh") else "en"


def say(language: str, text: str, **values) -> str:
    """A sentence of the page in a language, with its values filled in."""
    return (CHINESE.get(text, text) if language == "zh" else text).format(**values)


def setting(language: str, name: str) -> str:
    """A setting of a recipe in a language; its name may be any text."""
    return _SETTINGS.get(name, name.replace("_", " ")) if language == "zh" else name.replace("_", " ")


def fault(language: str, message: str) -> str:
    """An error's message in a language, if it is one that a visitor may well meet."""
    if language == "zh":
        for pattern, chinese in _FAULTS.items():
            if match := re.fullmatch(pattern, message, re.DOTALL):
                return chinese.format(**match.groupdict())
    return message
