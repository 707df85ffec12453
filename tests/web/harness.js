async () => {
    const load = async (name) => import(`/here/${name}.js`);
    const [faces, classifier, recognizer, runtime, crop] = await Promise.all(
        ["faces", "classifier", "recognizer", "runtime", "crop"].map(load));
    const bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
    const { specs } = await (await fetch("/here/site.json")).json();
    const yunet = new faces.YuNet(await runtime.openModel(await bytes("/here/yunet.onnx")));
    const image = async (url) => {
        const blob = await (await fetch(url)).blob();
        const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
        const { width, height } = bitmap;
        const context = new OffscreenCanvas(width, height).getContext("2d");
        context.drawImage(bitmap, 0, 0);
        return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
    };
    const use = async (model, head, halfLife, minConfidence = 0) => {
        const session = await runtime.openModel(await bytes(`/here/models/${model}.onnx`));
        const { labels } = specs[model].heads.find(({ name }) => name === head);
        mien.origin = {
            model, label_set: head, labels, detector: "yunet", mien: "", faces: yunet,
            classifier: new classifier.Classifier(session, specs[model]), minConfidence, halfLife,
        };
    };
    window.mien = { ...recognizer, ...crop, image, use };
}
