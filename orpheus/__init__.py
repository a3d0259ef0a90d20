"""Music tagging, recommendation and retrieval on TensorFlow 2 and Keras 3."""
