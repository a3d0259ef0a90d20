// Songs of a model as the player takes them.

/** A track for each hit; null for one without audio. */
export function tracks(hits, model) {
  return hits.map((hit) => {
    const url = model.audio(hit);
    return url && { key: `${model.name}/${hit.number}`, url, title: hit.title || hit.id, artist: hit.artist, hit, model };
  });
}
