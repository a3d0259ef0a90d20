// The outline of a local file, made in the browser; a file that is too large for that, or unknown to it, has none.

const MOST_BYTES = 16 << 20; // decoded it is many times as large
const SAMPLE_RATE = 8000;
const PEAKS = 1200;

/** Peaks in 0..1 of equal parts of a file, or null. */
export async function waveform(file) {
  if (file.size > MOST_BYTES) return null;
  let decoded;
  try {
    decoded = await new OfflineAudioContext(1, 1, SAMPLE_RATE).decodeAudioData(await file.arrayBuffer());
  } catch {
    return null; // the service may know a format that the browser does not
  }
  const samples = decoded.getChannelData(0);
  const peaks = new Float32Array(Math.min(PEAKS, samples.length));
  let most = 1e-9;
  for (let part = 0; part < peaks.length; part++) {
    const end = Math.floor(((part + 1) * samples.length) / peaks.length);
    let peak = 0;
    for (let at = Math.floor((part * samples.length) / peaks.length); at < end; at++) peak = Math.max(peak, Math.abs(samples[at]));
    peaks[part] = peak;
    most = Math.max(most, peak);
  }
  return peaks.map((peak) => peak / most);
}
