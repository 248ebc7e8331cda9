"""The page's words, in English and Simplified Chinese; the English text is the key."""

import gradio as gr

CHINESE = {
    # tabs and labels
    "Classify": "分类", "Batch": "批量", "Training": "训练", "Test": "测试", "Inside ResNeXt": "ResNeXt 内部", "Model card": "模型卡",
    "Model": "模型", "Copy link": "复制链接", "Photograph": "照片", "Likeliest classes": "最可能的类别",
    "Classes to name": "显示的类别数", "Examples": "示例", "Credits": "出处",
    "or the address of an image": "或图片网址", "Fetch": "获取", "Class to explain": "要解释的类别",
    "Opacity of the map": "热图不透明度", "Why?": "为什么？",
    "Photographs, or a ZIP of them": "多张照片，或一个 ZIP 压缩包", "Download as CSV": "下载 CSV", "Results": "结果",
    "Compare with": "与其他模型比较", "Logarithmic loss": "损失取对数坐标",
    "Cells show": "单元格显示", "counts": "数量", "rates": "比例", "Order of classes": "类别顺序",
    "as trained": "训练顺序", "most confused first": "最易混淆者优先", "similar ones together": "相似类别聚在一起",
    "True class": "真实类别", "Predicted class": "预测类别", "Per class": "各类别",
    "Input channels": "输入通道", "Filters": "卷积核数", "Kernel": "核大小", "Groups": "分组数",
    "Cardinality": "基数（cardinality）", "Run the three forms": "运行三种形式",
    # classify
    "{label}, {percent} percent.": "{label}，{percent}%。",
    "Probably {label}, {percent} percent.": "可能是 {label}，{percent}%。",
    "Not sure: {label} is only the best guess, {percent} percent. The network knows {classes} classes and nothing else.":
        "不确定：{label} 只是最佳猜测，{percent}%。该网络只认识 {classes} 个类别。",
    "network {network} ms · in all {all} ms": "网络 {network} 毫秒 · 共 {all} 毫秒",
    "The brighter, the more this place speaks for {label}. The frame is all that the network saw.":
        "越亮的位置越支持 {label}。网络只看到框内部分。",
    "What the network saw: {size} × {size} pixels": "网络看到的：{size} × {size} 像素",
    "Your photograph, with the places that speak for {label}": "您的照片，以及支持 {label} 的位置",
    # batch
    "thumbnail": "缩略图", "file": "文件", "class": "类别", "probability": "概率", "{done} of {count}": "{done} / {count}",
    "{count} files, {bad} of them could not be read.": "共 {count} 个文件，其中 {bad} 个无法读取。",
    # models
    "cardinality {cardinality}, bottleneck width {width}": "基数 {cardinality}，瓶颈宽度 {width}",
    "{millions} M parameters": "{millions} 百万参数", "{size} × {size} pixels": "{size} × {size} 像素", "{classes} classes": "{classes} 个类别",
    "on the Hub at {commit}": "Hub 上的版本 {commit}",
    "{model} is not offered on this page: choose one from the list.": "本页不提供 {model}：请从列表中选择。",
    "Opening {model}": "正在打开 {model}",
    # training
    "best epoch": "最佳轮次", "{epoch} of {epochs}": "{epoch} / {epochs}", "validation accuracy": "验证准确率", "validation loss": "验证损失",
    "training loss": "训练损失", "training": "训练", "validation": "验证", "epoch": "轮次", "loss": "损失", "accuracy": "准确率",
    "learning rate": "学习率", "learning<br>rate": "学习率", "best epoch {epoch}": "最佳轮次 {epoch}",
    "Recipe": "训练配方", "Data set": "数据集", "Software and hardware": "软件与硬件", "yes": "是", "no": "否",
    # test
    "top-1 accuracy": "top-1 准确率", "top-5 accuracy": "top-5 准确率", "images": "图像数", "expected calibration error": "期望校准误差",
    "true": "真实", "predicted": "预测", "precision": "精确率", "recall": "召回率", "First predictions": "前十个预测",
    "✓ right": "✓ 正确", "✗ wrong": "✗ 错误", "Most confident mistakes": "最自信的错误",
    "probability that the network gave": "网络给出的概率", "share that was right": "实际正确的比例", "bin": "区间",
    "{images} images": "{images} 张图像", "{rate} of the true class": "占真实类别的 {rate}",
    "{true} taken for {predicted}": "{true} 被认作 {predicted}",
    "{count} test images of {true} were taken for {predicted}.": "{true} 的测试图像中有 {count} 张被认作 {predicted}。",
    "This repository holds no thumbnails of them.": "此仓库没有它们的缩略图。",
    "Choose a cell of the heatmap, or the two classes.": "点击热图中的一格，或选择两个类别。",
    # inside
    "Standard convolution": "标准卷积", "Grouped convolution, {groups} groups": "分组卷积，{groups} 组",
    "{parameters} parameters": "{parameters} 个参数", "{adds} multiply-adds on 56 × 56": "56 × 56 上 {adds} 次乘加",
    "input channels": "输入通道", "filters": "卷积核", "Each filter sees every channel.": "每个卷积核看到所有通道。",
    "Each filter sees only its group's {share} channels: {times} times fewer weights.": "每个卷积核只看到本组的 {share} 个通道：权重减少为 1/{times}。",
    "{groups} groups do not divide {channels} channels and {filters} filters. These do: {those}.":
        "{groups} 组不能整除 {channels} 个通道和 {filters} 个卷积核。可用：{those}。",
    "paths, added": "并行路径相加", "early concatenation": "提前拼接", "grouped convolution": "分组卷积",
    "The same random weights and the same random numbers through all three forms: the largest difference is {difference}, of outputs up to {largest}.":
        "相同的随机权重与输入经过三种形式：最大差异 {difference}，输出最大为 {largest}。",
    "first output channel": "第一个输出通道", "stage": "阶段", "parameters": "参数", "multiply-adds": "乘加", "in all": "合计",
    "A grouped convolution": "分组卷积", "Three equal forms of the residual unit": "残差单元的三种等价形式",
    "ResNet-50 beside ResNeXt-50": "ResNet-50 与 ResNeXt-50 对照",
    "More paths, each thinner: cardinality {cardinality} × width {width} costs what ResNet-50 costs.":
        "更多更细的路径：基数 {cardinality} × 宽度 {width}，代价与 ResNet-50 相当。",
    # card
    "Download the weights": "下载权重", "This repository has no README.md.": "此仓库没有 README.md。",
    # files
    "This repository has no {file}, so {otherwise}.": "此仓库没有 {file}：{otherwise}。",
    "The {file} of this repository cannot be read ({fault}), so {otherwise}.": "此仓库的 {file} 无法读取（{fault}）：{otherwise}。",
    "there are no learning curves to show": "没有学习曲线可显示", "nothing is known of how it was trained": "不知道它如何训练",
    "there is no test to show": "没有测试结果可显示",
}  # fmt: skip

_ENGLISH = {text: text for text in CHINESE}
I18N = gr.I18n(**{"en": _ENGLISH, "zh": CHINESE, "zh-CN": CHINESE})


def translated(text: str):
    """A component's label, in the browser's language."""
    return I18N(text)


def language(request: gr.Request | None) -> str:
    """"zh" or "en": what the visitor's browser asks for first."""
    asked = request.headers.get("accept-language", "") if request else ""
    return "zh" if asked.lower().startswith("zh") else "en"


def say(tongue: str, text: str, **values) -> str:
    """A sentence of the page in a language, with its values filled in."""
    return (CHINESE.get(text, text) if tongue == "zh" else text).format(**values)
